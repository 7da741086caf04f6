"""The page of ``dreamif view``: live streams, rates and health in a browser.

::

    ROS topics ── ViewNode ── newest message ── Painter ── JPEG ── Browser ── page
                  (own thread)                  (worker)          (websocket, newest only)
"""
