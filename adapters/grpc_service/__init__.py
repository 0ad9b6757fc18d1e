"""Services that speak gRPC, called by the descriptors that their authors publish."""
