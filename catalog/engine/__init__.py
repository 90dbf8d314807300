"""The two engines that a catalog can be on, behind one interface (docs/decisions/0013-the-seam.md)."""
