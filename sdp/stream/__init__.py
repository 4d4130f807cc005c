"""The log and what is made of it: records, epochs, the catalog of streams. Knows neither HTTP nor media."""
