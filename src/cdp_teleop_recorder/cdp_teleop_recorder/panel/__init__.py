"""The operator panel: a local web page over the recorder, its cameras and its episodes."""
