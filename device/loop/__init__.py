"""The live loop: source, models and sinks in a thread each, with a slot of one frame between them."""
