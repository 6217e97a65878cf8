"""Preloaded by workers: the model they load is the colour segmenter of the tests, a little slow."""

import os
import sys
import time
import types

from tests.cluster_fakes import Poisoned


class _Paced(Poisoned):
    def propose(self, queries):
        time.sleep(float(os.environ.get("TEST_TILE_SECONDS", "0")))
        return super().propose(queries)


loading = types.ModuleType("remotesam.segmenter.loading")
loading.load = lambda *args, **kwargs: _Paced()
sys.modules[loading.__name__] = loading
