"""What `ocicat browse` and `ocicat serve` share: who may send requests, and the socket on which they listen."""
