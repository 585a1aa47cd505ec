"""OpenVINO GenAI's continuous batching, behind `Generator`."""
