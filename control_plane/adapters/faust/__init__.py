"""Faust as it is used here: the backbone on Kafka and on the embedded log. Faust is named nowhere else."""

import control_plane.adapters.faust.library  # noqa: F401 - before anything else loads Faust

# isort: split
from control_plane.adapters.faust.backbone import FaustBackbone
from control_plane.adapters.faust.kafka_marks import KafkaMarks
from control_plane.adapters.faust.log_readers import open_log_reader, topic_findings
from control_plane.adapters.faust.log_tail import open_log_tail
from control_plane.adapters.faust.topic_settings import TopicFinding

__all__ = ["FaustBackbone", "KafkaMarks", "TopicFinding", "open_log_reader", "open_log_tail", "topic_findings"]
