"""The Origin: a source's records into its own log, and from there to a Distributor, one POST a record."""
