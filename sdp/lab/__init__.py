"""The latency laboratory: what does an architecture cost, in milliseconds?

A scenario says what is varied; a run sets each cell's way up, gives it pictures that carry their own clock, and keeps
one row for each picture and consumer; statistics and a report are made from the rows alone.
"""
