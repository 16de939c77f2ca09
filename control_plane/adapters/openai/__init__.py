"""Language models behind the OpenAI protocol, whoever serves them: a tool that slow agents may ask.

The openai SDK is loaded with the first question, or by `warm`: it takes longer to load than the whole service.
"""

from control_plane.adapters.openai.tool import OpenAiTool

__all__ = ["OpenAiTool"]
