"""The Distributor: takes what Origins post, keeps it, and hands it to every Consumer at once."""
