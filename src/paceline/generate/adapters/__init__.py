"""Other engines behind `Generator`: OpenVINO GenAI, vLLM, or any server that speaks OpenAI's protocol."""
