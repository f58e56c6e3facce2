mod cluster;
mod folder;
