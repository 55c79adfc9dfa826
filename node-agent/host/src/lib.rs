//! Narrow ports to the host, the one interpreter of steps, an honest fake, and the contract both keep.
