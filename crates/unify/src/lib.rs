//! One set of features of every library for all builds of tests; there is no code here. The manifest says why.
