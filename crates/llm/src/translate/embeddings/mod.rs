//! OpenAI's embeddings for the models of Amazon Titan and Cohere behind Bedrock's InvokeModel, and the answers back.
//!
//! Sources: docs.aws.amazon.com/bedrock/latest/userguide, `model-parameters-titan-embed-text`, `model-parameters-titan-embed-mm`,
//! `model-parameters-embed-v3` and `model-parameters-embed-v4`; rules that these do not state are marked as assumed.

mod answer;
mod request;

pub use answer::answer;
pub use request::request;
pub(crate) use request::request_of;

/// A family of models that take the same requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EmbeddingModel {
    /// Titan Text Embeddings G1: a text and nothing else, vectors of 1,536 numbers.
    TitanG1,
    /// Titan Text Embeddings V2.
    TitanV2,
    /// Titan Multimodal Embeddings G1, of which texts alone are asked.
    TitanMultimodal,
    /// Cohere Embed v3, English and multilingual: vectors of 1,024 numbers.
    CohereV3,
    /// Cohere Embed v4.
    CohereV4,
}

impl EmbeddingModel {
    /// The family of a model's id, with or without the region before it (`eu.cohere.…`), or at the end of an ARN; `None` of models
    /// that make no embeddings, and of the ARN of an application's inference profile, which says nothing of it.
    ///
    /// assumed: models that come after these take what the newest of their vendor takes.
    pub fn from_name(model: &str) -> Option<Self> {
        let id = model.rsplit('/').next().unwrap_or_default();
        let without_region = id.split_once('.').map(|(_, rest)| rest);
        let behind = |vendor| id.strip_prefix(vendor).or_else(|| without_region?.strip_prefix(vendor));
        if let Some(titan) = behind("amazon.titan-embed-") {
            return Some(match titan {
                _ if titan.starts_with("image-") => Self::TitanMultimodal,
                _ if titan.starts_with("text-v1") || titan.starts_with("g1-") => Self::TitanG1,
                _ => Self::TitanV2,
            });
        }
        let cohere = behind("cohere.embed-")?;
        Some(if cohere.contains("-v3") { Self::CohereV3 } else { Self::CohereV4 })
    }

    const fn is_cohere(self) -> bool {
        matches!(self, Self::CohereV3 | Self::CohereV4)
    }

    /// The length of the vectors of a model that has only one.
    const fn fixed_length(self) -> Option<u64> {
        match self {
            // Source: the user guide's `titan-embedding-models`.
            Self::TitanG1 => Some(1536),
            // Source: docs.cohere.com/docs/cohere-embed.
            Self::CohereV3 => Some(1024),
            Self::TitanV2 | Self::TitanMultimodal | Self::CohereV4 => None,
        }
    }

    /// Fields of the vendor's own that pass as they are.
    const fn own_fields(self) -> &'static [&'static str] {
        match self {
            Self::TitanG1 | Self::TitanMultimodal => &[],
            Self::TitanV2 => &["normalize"],
            Self::CohereV3 => &["input_type", "truncate"],
            Self::CohereV4 => &["input_type", "max_tokens", "truncate"],
        }
    }
}

/// What the translation of an answer needs of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingsContext {
    /// The model's name in the request.
    pub model: String,
    pub family: EmbeddingModel,
    /// How many texts were sent: as many vectors come back.
    pub inputs: usize,
    /// The client wants each vector as the base64 of its 32 bit floats, which the SDKs of OpenAI ask for.
    pub is_base64: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_models() {
        use EmbeddingModel::{CohereV3, CohereV4, TitanG1, TitanMultimodal, TitanV2};
        for (model, family) in [
            ("amazon.titan-embed-text-v1", Some(TitanG1)),
            ("amazon.titan-embed-text-v1:2:8k", Some(TitanG1)),
            ("amazon.titan-embed-g1-text-02", Some(TitanG1)),
            ("amazon.titan-embed-text-v2:0", Some(TitanV2)),
            ("amazon.titan-embed-text-v3:0", Some(TitanV2)),
            ("amazon.titan-embed-image-v1:0", Some(TitanMultimodal)),
            ("cohere.embed-english-v3", Some(CohereV3)),
            ("cohere.embed-multilingual-v3:0:512", Some(CohereV3)),
            ("cohere.embed-v4:0", Some(CohereV4)),
            ("global.cohere.embed-v4:0", Some(CohereV4)),
            ("arn:aws:bedrock:us-east-1:1:inference-profile/us.cohere.embed-v4:0", Some(CohereV4)),
            ("arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0", Some(TitanV2)),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", None),
            ("amazon.titan-text-express-v1", None),
            ("cohere.command-r-v1:0", None),
            ("a.b.cohere.embed-v4:0", None),
            ("", None),
        ] {
            assert_eq!(EmbeddingModel::from_name(model), family, "{model}");
        }
    }
}
