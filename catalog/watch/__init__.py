"""The daemon (`ocicat watch`). File events only tell it where to look first; the regular sweep finds every change."""
