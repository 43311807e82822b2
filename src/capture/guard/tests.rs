use super::*;

fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint { host: host.into(), port, address: String::new(), secure: false }
}

#[test]
fn only_an_address_that_is_certainly_the_cameras_is_followed() {
    let camera = endpoint("cam.local", 8554);
    for address in ["rtsp://cam.local:8554/2", "rtsp://CAM.local:8554", "rtsp://cam.local:8554?x=1"] {
        assert!(is_at(address, &camera), "{address}");
    }
    for address in [
        "rtsp://cam.local/2",
        "rtsp://cam.local:554/2",
        "rtsp://cam.local:8554.evil/2",
        "rtsp://evil:8554/2",
        "rtsp://evil/@cam.local:8554/2",
        "rtsp://evil#@cam.local:8554/2",
        "rtsp://cam.local:8554@evil/2",
        "rtsp://cam.local:8554\\@evil/2",
        "rtsp://cam.local:8554#evil/2",
        "rtsp://cam.local:8554 evil/2",
        "rtsp://cam.local%2eevil:8554/2",
        "rtsps://cam.local:8554/2",
        "rtsph://cam.local:8554/2",
        "http://cam.local:8554/2",
        "rtsp-sdp://v=0",
        "/2",
        "",
    ] {
        assert!(!is_at(address, &camera), "{address}");
    }
    let encrypted = Endpoint { secure: true, ..endpoint("cam", 322) };
    assert!(is_at("rtsps://cam/2", &encrypted) && is_at("rtsps://cam:322/2", &encrypted));
    assert!(!is_at("rtsp://cam:322/2", &encrypted), "it would leave TLS");
    assert!(is_at("rtsp://cam/2", &endpoint("cam", 554)));
    assert!(is_at("rtsp://[fe80::1]:554/2", &endpoint("fe80::1", 554)));
}

#[test]
fn a_password_in_clear_is_refused_after_a_digest_and_to_that_camera_only() {
    let basic = Offers { basic: true, ..Offers::default() };
    let digest = Offers { digest: true, md5: true, ..Offers::default() };
    let guard = |port| Guard::new(endpoint("guard.test", port));
    let first = guard(1);
    assert!(first.may_log_in(basic) && first.may_log_in(Offers::default()));
    assert!(first.may_log_in(digest));
    assert!(!first.may_log_in(basic));
    assert_eq!(first.attempt(), Some(Attempt::InClear));
    let next_session = Guard::new(endpoint("GUARD.test", 1));
    assert!(next_session.may_log_in(Offers { basic: true, ..digest }));
    assert!(!next_session.may_log_in(basic));
    assert!(guard(2).may_log_in(basic));
}

#[test]
fn a_session_follows_so_many_redirects_and_no_more() {
    let guard = Guard::new(endpoint("cam", 554));
    for _ in 0..MOST_REDIRECTS {
        assert!(guard.may_follow("rtsp://cam/1"));
    }
    assert_eq!(guard.attempt(), None);
    assert!(!guard.may_follow("rtsp://cam/1"));
    assert_eq!(guard.attempt(), Some(Attempt::InCircles));
}

#[test]
fn where_a_camera_sends_us_is_told_without_control_characters() {
    let guard = Guard::new(endpoint("cam", 554));
    assert!(!guard.may_follow("rtsp://x/\u{1b}[2J\n"));
    assert_eq!(guard.attempt(), Some(Attempt::Elsewhere("rtsp://x/\\u{1b}[2J\\n".into())));
}

#[test]
fn a_camera_refuses_one_login_or_one_more_after_it_has_accepted_one() {
    let offers = Offers { digest: true, md5: true, ..Offers::default() };
    let guard = Guard::new(endpoint("logins.test", 554));
    assert!(guard.may_try_again(false, offers), "the challenge");
    assert!(!guard.may_try_again(true, offers));
    let guard = Guard::new(endpoint("logins.test", 554));
    guard.accepted(false);
    assert!(guard.may_try_again(true, Offers { stale: true, ..offers }), "a new nonce");
    guard.accepted(true);
    assert!(guard.may_try_again(true, offers), "perhaps a new nonce");
    assert!(!guard.may_try_again(true, offers));
}

#[test]
fn a_digest_that_gstreamer_cannot_make_is_told_and_meets_no_challenge() {
    let guard = Guard::new(endpoint("sha.test", 554));
    assert!(!guard.may_log_in(Offers { digest: true, ..Offers::default() }));
    assert_eq!(guard.attempt(), Some(Attempt::OtherDigest));
}
