//! Fragments of descriptions that WHIP and WHEP clients send, and what is cut out of answers for them.
//!
//! A fragment that is taken has credentials of the lengths that RFC 8839 §5.4 asks for, both or none, and a
//! refusal names one of its lines. What is cut out of any text has nothing in it that would be another
//! line, and it is read again as it was cut.
#![no_main]

use antipode_fuzz::panics;
use antipode_signaling::whip::fragment;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: panics::install(), |data: &[u8]| {
    panics::run(data, &[], || {
        let Ok(text) = std::str::from_utf8(data) else { return };
        match fragment::parse(text) {
            Ok(fragment) => taken(text, &fragment),
            Err(error) => assert!((1..=text.lines().count() + 1).contains(&error.line), "{error}"),
        }
        let cut = fragment::of_answer(text);
        assert!(cut.ends_with("a=end-of-candidates\r\n"), "{cut:?}");
        assert!(cut.matches("\nm=").count() + usize::from(cut.starts_with("m=")) <= 1, "{cut:?}");
        assert_eq!(fragment::of_answer(cut.strip_suffix("a=end-of-candidates\r\n").unwrap_or("")), cut);
    });
});

fn taken(text: &str, fragment: &fragment::Fragment) {
    if let Some((ufrag, password)) = &fragment.credentials {
        assert!((4..=256).contains(&ufrag.len()) && (22..=256).contains(&password.len()));
        assert!(text.contains(ufrag) && text.contains(password));
    }
    assert!(fragment.candidates <= text.matches("a=candidate:").count());
    assert!(fragment.credentials.is_some() || fragment.candidates > 0 || fragment.is_last);
}
