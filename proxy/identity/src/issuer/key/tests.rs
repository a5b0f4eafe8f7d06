use super::*;

fn members(members: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    members.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

#[test]
fn thumbprints_are_those_of_the_standards() {
    // RFC 7638 §3.1.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4\
             n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA\
             ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEg\
             U8awapJzKnqDKgw";
    let rsa = members(&[("e", "AQAB"), ("kty", "RSA"), ("n", n)]);
    assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    // RFC 8037 appendix A.3.
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let ed = members(&[("crv", "Ed25519"), ("kty", "OKP"), ("x", x)]);
    assert_eq!(thumbprint(&ed), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn an_ed25519_key_is_the_one_of_the_standard() {
    // RFC 8037 appendix A.1 and A.2: the private key and its public half.
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let key = SigningKey::from_pkcs8(SigningAlgorithm::EdDsa, pkcs8.as_ref()).unwrap();
    assert_eq!(key.jwk()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    // Appendix A.4: what it signs.
    let signature = key.pair.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc").unwrap();
    let expected = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(URL_SAFE_NO_PAD.encode(signature), expected);
}

#[test]
fn a_published_key_has_the_members_of_its_kind_and_no_private_one() {
    for (algorithm, kty, own) in [
        (SigningAlgorithm::Es256, "EC", vec!["crv", "x", "y"]),
        (SigningAlgorithm::Rs256, "RSA", vec!["e", "n"]),
        (SigningAlgorithm::EdDsa, "OKP", vec!["crv", "x"]),
    ] {
        let pkcs8 = SigningKey::generate(algorithm).unwrap();
        let key = SigningKey::from_pkcs8(algorithm, &pkcs8).unwrap();
        let jwk = key.jwk();
        let mut expected = [own.clone(), vec!["alg", "kid", "kty", "use"]].concat();
        expected.sort_unstable();
        let names: Vec<&str> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
        let mut names = names;
        names.sort_unstable();
        assert_eq!(names, expected, "{algorithm}");
        assert_eq!((&jwk["kty"], &jwk["alg"], &jwk["use"]), (&kty.into(), &algorithm.name().into(), &"sig".into()));
        // RFC 7518 §6.2.1.2, §6.3.1: the full length of the curve, and no zero in front of a number.
        let length = |member: &str| URL_SAFE_NO_PAD.decode(jwk[member].as_str().unwrap()).unwrap().len();
        match algorithm {
            SigningAlgorithm::Es256 => assert_eq!((length("x"), length("y")), (32, 32)),
            SigningAlgorithm::Rs256 => assert_eq!((length("n"), length("e")), (256, 3)),
            SigningAlgorithm::EdDsa => assert_eq!(length("x"), 32),
        }
        assert_eq!(format!("{key:?}"), format!("SigningKey({algorithm} {})", key.kid()));
    }
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let pkcs8 = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    assert!(SigningKey::from_pkcs8(SigningAlgorithm::EdDsa, &pkcs8).is_err());
    assert!(SigningKey::from_pkcs8(SigningAlgorithm::Rs256, &pkcs8).is_err());
    assert!(SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8[1..]).is_err());
}
