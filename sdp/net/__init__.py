"""Twisted meets http1: connections, flow control, time-outs and limits. Knows neither streams nor media."""
