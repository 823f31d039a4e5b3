//! Randomness, passed in so that a test can say what it was.
//!
//! Promise: whoever makes a key, a nonce or a message id says where its
//! randomness comes from. One exception: RSA-OAEP draws its padding seed inside
//! AWS-LC, which offers no way to pass it in.

/// Fills buffers with unpredictable bytes.
pub trait Entropy {
    /// Fills all of `buf`.
    ///
    /// # Errors
    /// [`EntropyError`] when the source is not ready; `buf` must not be used then.
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError>;
}

/// The source of randomness gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to read random bytes from the system")]
pub struct EntropyError;

/// The operating system's randomness, through `getrandom`.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buf).map_err(|_| EntropyError)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Counts upwards: messages made with it are the same in every run.
    pub(crate) struct CountingEntropy(pub u8);

    impl Entropy for CountingEntropy {
        fn fill(&mut self, buf: &mut [u8]) -> Result<(), EntropyError> {
            for b in buf {
                *b = self.0;
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }
    }

    #[test]
    fn the_system_gives_different_bytes_each_time() {
        let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
        OsEntropy.fill(&mut a).unwrap();
        OsEntropy.fill(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
