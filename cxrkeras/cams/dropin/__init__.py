"""The engine behind tf-keras-vis' call interface: its classes, arguments and ways to name a layer."""
