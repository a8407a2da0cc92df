"""The pages: Pipeline, Change, Images and Bus. Server-rendered; whoever mounts them says who may see them."""
