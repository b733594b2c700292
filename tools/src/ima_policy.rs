//! The ima_policy that whitelists are made for, and what a kernel's own leaves out of it.

/// The recommended ima_policy: what Keylime documents, without the rules by `obj_type=`, which a kernel without SELinux
/// refuses with the whole policy.
pub const RECOMMENDED: &str = "\
# ima_policy for whitelists of goldseal: /etc/ima/ima-policy, read by systemd at boot, or written whole to
# /sys/kernel/security/ima/policy. Programs, libraries and kernel modules are measured, data are not.

# File systems that hold no programs: proc, sysfs, debugfs, securityfs, selinuxfs, cgroup.
dont_measure fsmagic=0x9fa0
dont_measure fsmagic=0x62656572
dont_measure fsmagic=0x64626720
dont_measure fsmagic=0x73636673
dont_measure fsmagic=0xf97cff8c
dont_measure fsmagic=0x27e0eb
# tmpfs and ramfs: what is run from /tmp, /dev/shm or an initramfs is NOT seen. Without these two lines it is,
# and has to be listed (goldseal build --initramfs).
dont_measure fsmagic=0x01021994
dont_measure fsmagic=0x858458f6
# overlayfs: what is run in containers is NOT seen. Without this line it is, under the paths within the container.
dont_measure fsmagic=0x794c7630

# Programs that are executed, files mapped to be executed (libraries), and kernel modules.
measure func=BPRM_CHECK
measure func=MMAP_CHECK mask=MAY_EXEC
measure func=MODULE_CHECK uid=0
";

/// File systems without programs that the kernel's built-in policies leave out too, by their magic numbers: devpts,
/// binfmt_misc, smackfs, cgroup2, nsfs, efivarfs (dont_measure_rules in security/integrity/ima/ima_policy.c).
const PSEUDO: [u64; 6] = [0x1cd1, 0x4249_4e4d, 0x4341_5d53, 0x6367_7270, 0x6e73_6673, 0xde5e_81e4];

/// One rule of an ima_policy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ImaRule {
    action: String,
    /// As `func=BPRM_CHECK`.
    conditions: Vec<String>,
}

impl ImaRule {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let action = words.next().filter(|word| !word.starts_with('#'))?.to_owned();
        // Names that the kernel still takes and does not print (ima_parse_rule).
        let condition = |word: &str| match word {
            "func=FILE_MMAP" => "func=MMAP_CHECK".to_owned(),
            "func=PATH_CHECK" => "func=FILE_CHECK".to_owned(),
            other => other.to_owned(),
        };
        Some(Self { action, conditions: words.map(condition).collect() })
    }

    fn all(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::parse).collect()
    }

    fn func(&self) -> Option<&String> {
        self.conditions.iter().find(|condition| condition.starts_with("func="))
    }

    /// Whether it measures at least what `wanted` does: the same hook, under no condition that `wanted` has not.
    fn covers(&self, wanted: &Self) -> bool {
        let is_met = |condition: &String| {
            wanted.conditions.contains(condition)
                // What is executed is opened to be; where an entry goes and how it looks is no condition.
                || (condition == "mask=MAY_EXEC" && wanted.func().is_some_and(|func| func == "func=BPRM_CHECK"))
                || condition.starts_with("pcr=")
                || condition.starts_with("template=")
        };
        self.action == "measure" && self.func() == wanted.func() && self.conditions.iter().all(is_met)
    }

    /// Whether it leaves out a file system that is left out in the recommended policy, or has no programs.
    fn leaves_out_known(&self, recommended: &[Self]) -> bool {
        let magic = |rule: &Self| match rule.conditions.as_slice() {
            [one] => one.strip_prefix("fsmagic=0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        magic(self)
            .is_some_and(|found| PSEUDO.contains(&found) || recommended.iter().any(|rule| magic(rule) == Some(found)))
    }
}

impl std::fmt::Display for ImaRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.action, self.conditions.join(" "))
    }
}

/// What a policy leaves out of the recommended one: rules of it that no rule measures, and rules by which more is not
/// measured. Both empty: at least as much is.
pub fn left_out(loaded: &str) -> (Vec<String>, Vec<String>) {
    let (recommended, loaded) = (ImaRule::all(RECOMMENDED), ImaRule::all(loaded));
    let wanted = recommended.iter().filter(|rule| rule.action == "measure");
    let missing = wanted.filter(|wanted| !loaded.iter().any(|rule| rule.covers(wanted)));
    let unseen = loaded.iter().filter(|rule| rule.action == "dont_measure" && !rule.leaves_out_known(&recommended));
    (missing.map(ToString::to_string).collect(), unseen.map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// testdata/captures/_shared/keylime-nolsm, which kernels of the captures took.
    const KEYLIME: &str = include_str!("../../testdata/captures/_shared/keylime-nolsm");

    #[test]
    fn the_recommended_rules_are_keylimes() {
        let sorted = |text: &str| {
            let mut rules: Vec<String> = ImaRule::all(text).iter().map(ToString::to_string).collect();
            rules.sort();
            rules
        };
        assert_eq!(sorted(RECOMMENDED), sorted(KEYLIME));
        assert!(!RECOMMENDED.contains("obj_type="));
        // Nothing is measured before what is left out.
        let rules = ImaRule::all(RECOMMENDED);
        assert!(rules.is_sorted_by_key(|rule| rule.action == "measure"));
        assert_eq!(left_out(KEYLIME), (vec![], vec![]));
    }

    #[test]
    fn what_a_policy_leaves_out_is_named() {
        // ima_policy=tcb as Linux 6.12 prints it, in part.
        let tcb = "dont_measure fsmagic=0x9fa0 \ndont_measure fsmagic=0x1cd1 \nmeasure func=MMAP_CHECK mask=MAY_EXEC \n\
                   measure func=BPRM_CHECK mask=MAY_EXEC \nmeasure func=FILE_CHECK mask=^MAY_READ euid=0 \n\
                   measure func=MODULE_CHECK \n";
        assert_eq!(left_out(tcb), (vec![], vec![]));
        let missing = |text: &str| left_out(text).0;
        assert_eq!(missing("").len(), 3);
        assert_eq!(
            missing(&tcb.replace("measure func=MODULE_CHECK", "appraise func=MODULE_CHECK")),
            ["measure func=MODULE_CHECK uid=0"]
        );
        assert_eq!(
            missing(&tcb.replace("BPRM_CHECK mask=MAY_EXEC", "BPRM_CHECK fowner=0")),
            ["measure func=BPRM_CHECK"]
        );
        assert_eq!(left_out(&tcb.replace("0x1cd1", "0xef53")).1, ["dont_measure fsmagic=0xef53"]);
        assert_eq!(left_out(&tcb.replace("fsmagic=0x1cd1", "fsname=ext4")).1, ["dont_measure fsname=ext4"]);
        assert_eq!(left_out(&tcb.replace("0x1cd1", "0x9fa0 uid=0")).1, ["dont_measure fsmagic=0x9fa0 uid=0"]);
    }
}
