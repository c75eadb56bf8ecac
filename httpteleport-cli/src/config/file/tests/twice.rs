//! Files in which something stands twice.

use super::mistakes;

#[test]
fn a_table_that_stands_twice_hides_nothing_else_that_is_wrong_in_it() {
    let faults = mistakes("[group.a]\nurls = \"http://h\"\n[group.a]\nurls = \"http://i\"\ntimeout = 1x\n");
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(
        faults[0].starts_with("web.toml:3: [group.a]: stands there twice") && faults[1].starts_with("web.toml:5: ")
    );
}

#[test]
fn a_key_that_stands_twice_is_named() {
    for (text, want) in [
        ("[listener.a]\nurl = \"http://:1\"\nurl = \"http://:2\"\n", "web.toml:3: url: stands there twice; keep one"),
        ("[group.a]\n[group.a]\n", "web.toml:2: [group.a]: stands there twice; write all of it below the first one"),
        (
            "[group.a]\n[group.a] # see [1]\n",
            "web.toml:2: [group.a]: stands there twice; write all of it below the first one",
        ),
        (
            "[group.a]\nurls = \"http://h\"\n[listener.b]\n[group.a] # again\nurls = \"http://h\"\n[listener.c]\n",
            "web.toml:4: [group.a]: stands there twice; write all of it below the first one",
        ),
    ] {
        let told = mistakes(text);
        assert!(told.len() == 1 && told[0].starts_with(want), "{told:?}");
    }
}
