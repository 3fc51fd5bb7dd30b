"""The project room: entities and links in, labelled target words out."""
