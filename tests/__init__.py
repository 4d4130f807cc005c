"""Tests, laid out as sdp/ is: a room's tests stand in the directory of its name."""
