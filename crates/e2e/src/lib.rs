//! Nothing is here: the end-to-end tests are in `tests/e2e`, one binary, so that they share the machine sensibly. `./x test e2e` runs them.
