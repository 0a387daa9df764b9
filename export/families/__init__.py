"""One file a model family: how its checkpoint becomes the roles of the bundle contract."""
