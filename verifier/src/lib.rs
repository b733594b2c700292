//! goldseal-verifier: registers machines, polls their TPM quotes, and judges them by sealed whitelists.
