from dreamif_model.temporal.filter import TemporalFilter
class StreamFuser:
    def __init__(self, pipeline):
        self.pipeline = pipeline
        self._filter = TemporalFilter()

    def fuse(self, visible, infrared):
        v, i = self._filter.filter(visible, infrared)
        return self.pipeline.fuse(visible=v, infrared=i)
