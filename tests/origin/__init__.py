"""From a source's records to POSTs."""
