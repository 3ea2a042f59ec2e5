"""Hot loading: the store is watched, the engine takes what is published, requests say which version answers."""
