//! The API server: request path, registry, admission, authentication and authorization, discovery, OpenAPI.
