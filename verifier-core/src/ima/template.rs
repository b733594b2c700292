//! Templates: which fields an entry has (`security/integrity/ima/ima_template.c`).

use super::entry::MAX_TEMPLATE_NAME;

/// The one template without length prefixes and without a length of its template data.
pub(super) const LEGACY: &[u8] = b"ima";

/// Fields of one template (IMA_TEMPLATE_NUM_FIELDS_MAX in `ima.h`).
const MAX_FIELDS: usize = 15;

/// A field of a template (`supported_fields`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Digest,
    Name,
    DigestNg,
    DigestNgv2,
    NameNg,
    Signature,
    Buffer,
    ModsigDigest,
    Modsig,
    EvmSignature,
    Uid,
    Gid,
    Mode,
    XattrNames,
    XattrLengths,
    XattrValues,
}

use Field::*;

impl Field {
    const ALL: [Self; 16] = [
        Digest,
        Name,
        DigestNg,
        DigestNgv2,
        NameNg,
        Signature,
        Buffer,
        ModsigDigest,
        Modsig,
        EvmSignature,
        Uid,
        Gid,
        Mode,
        XattrNames,
        XattrLengths,
        XattrValues,
    ];

    /// The kernel's name of it.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Digest => "d",
            Name => "n",
            DigestNg => "d-ng",
            DigestNgv2 => "d-ngv2",
            NameNg => "n-ng",
            Signature => "sig",
            Buffer => "buf",
            ModsigDigest => "d-modsig",
            Modsig => "modsig",
            EvmSignature => "evmsig",
            Uid => "iuid",
            Gid => "igid",
            Mode => "imode",
            XattrNames => "xattrnames",
            XattrLengths => "xattrlengths",
            XattrValues => "xattrvalues",
        }
    }

    /// How its value is written (`enum data_formats` in `ima_template_lib.c`).
    pub(super) const fn form(self) -> Form {
        match self {
            Digest => Form::Hex,
            DigestNg | DigestNgv2 | ModsigDigest => Form::NamedDigest,
            Name | NameNg => Form::Text,
            // An empty one has no NUL, unlike an empty name (evm_read_protected_xattrs in `evm_main.c`).
            XattrNames => Form::TextOrNothing,
            Signature | Buffer | Modsig | EvmSignature | XattrLengths | XattrValues => Form::Hex,
            // uid_t and gid_t are 32 bits wide, i_mode 16.
            Uid | Gid => Form::Number,
            Mode => Form::ShortNumber,
        }
    }

    fn of_id(id: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.id().as_bytes() == id)
    }
}

/// How the value of a field is written in template data and in the ASCII list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Any bytes; in ASCII as hex.
    Hex,
    /// A prefix that ends with `:`, NUL, a digest; in ASCII the prefix, then hex.
    NamedDigest,
    /// Bytes without NUL, then NUL; in ASCII without it.
    Text,
    /// The same, or nothing at all.
    TextOrNothing,
    /// 32 bits in the list's byte order, or nothing at all; in ASCII decimal.
    Number,
    /// 16 bits, likewise.
    ShortNumber,
}

/// The fields of one template, in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format<'a> {
    /// A template with a name of its own.
    BuiltIn(&'static [Field]),
    /// One whose name is its format (`ima_template_fmt=`); every part of it names a field.
    Spelled(&'a [u8]),
}

impl<'a> Format<'a> {
    /// The format of a template; `None` if the kernel has no such template.
    pub(super) fn of(template: &'a [u8]) -> Option<Self> {
        let fields: &'static [Field] = match template {
            b"ima-ng" => &[DigestNg, NameNg],
            b"ima-sig" => &[DigestNg, NameNg, Signature],
            b"ima-buf" => &[DigestNg, NameNg, Buffer],
            LEGACY => &[Digest, Name],
            b"ima-ngv2" => &[DigestNgv2, NameNg],
            b"ima-sigv2" => &[DigestNgv2, NameNg, Signature],
            b"ima-modsig" => &[DigestNg, NameNg, Signature, ModsigDigest, Modsig],
            b"evm-sig" => &[DigestNg, NameNg, EvmSignature, XattrNames, XattrLengths, XattrValues, Uid, Gid, Mode],
            spelled => {
                let known = spelled.len() <= MAX_TEMPLATE_NAME
                    && parts(spelled).count() <= MAX_FIELDS
                    && parts(spelled).all(|id| Field::of_id(id).is_some());
                return known.then_some(Self::Spelled(spelled));
            }
        };
        Some(Self::BuiltIn(fields))
    }

    pub(super) fn fields(self) -> impl Iterator<Item = Field> {
        let (built_in, spelled): (&[Field], &[u8]) = match self {
            Self::BuiltIn(fields) => (fields, &[]),
            Self::Spelled(spelled) => (&[], spelled),
        };
        built_in.iter().copied().chain(parts(spelled).filter_map(Field::of_id))
    }
}

fn parts(format: &[u8]) -> impl Iterator<Item = &[u8]> {
    format.split(|byte| *byte == b'|')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format of each template as `builtin_templates` spells it.
    #[test]
    fn built_in_templates_have_the_kernels_formats() {
        for (name, format) in [
            ("ima", "d|n"),
            ("ima-ng", "d-ng|n-ng"),
            ("ima-sig", "d-ng|n-ng|sig"),
            ("ima-ngv2", "d-ngv2|n-ng"),
            ("ima-sigv2", "d-ngv2|n-ng|sig"),
            ("ima-buf", "d-ng|n-ng|buf"),
            ("ima-modsig", "d-ng|n-ng|sig|d-modsig|modsig"),
            ("evm-sig", "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode"),
        ] {
            let fields =
                |template: &'static str| -> Vec<Field> { Format::of(template.as_bytes()).unwrap().fields().collect() };
            assert_eq!(fields(name), fields(format), "{name}");
            assert_eq!(fields(format).iter().map(|field| field.id()).collect::<Vec<_>>().join("|"), format);
        }
    }

    #[test]
    fn other_names_are_unknown() {
        for name in ["", "|", "ima-", "IMA-NG", "d-ng|", "|d-ng", "d-ng||n-ng", "d-ng|n-NG", "d-ng n-ng"] {
            assert!(Format::of(name.as_bytes()).is_none(), "{name:?}");
        }
        assert!(Format::of(vec!["n-ng"; MAX_FIELDS].join("|").as_bytes()).is_some());
        assert!(Format::of(vec!["n-ng"; MAX_FIELDS + 1].join("|").as_bytes()).is_none());
    }
}
