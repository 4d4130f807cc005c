"""The commands that ``twistd`` finds: strings only, so that listing them imports nothing of SDP.

There is no ``__init__.py`` beside this file: with one, this directory would shadow Twisted's own package.
"""

from twisted.application.service import ServiceMaker

distributor = ServiceMaker(
    "SDP Distributor",
    "sdp.tap.distributor",
    "Take live streams from Origins by POST, and give them to Consumers by GET.",
    "sdp-distributor",
)

origin = ServiceMaker(
    "SDP Origin",
    "sdp.tap.origin",
    "Capture and encode a source, and post it to a Distributor as it comes.",
    "sdp-origin",
)

consumer = ServiceMaker(
    "SDP Consumer",
    "sdp.tap.consumer",
    "Fetch a live stream, and keep a gapless copy of it.",
    "sdp-consumer",
)

player = ServiceMaker(
    "SDP Player",
    "sdp.tap.player",
    "Play a live stream, as close to its live edge as the network allows.",
    "sdp-player",
)
