"""Export a trained run, or somebody else's model, to a bundle of files that were compared with the network."""
