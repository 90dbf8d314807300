"""Plans: which blobs could be removed, copied or shared. Nothing here changes a layout or the catalog."""
