//! What a pools file becomes, and what is said when it cannot be used.
