//! The manifests for Kubernetes, and how Prometheus reads what they start.

use yaml_rust2::{Yaml, YamlLoader};

use super::*;

const METRICS: &str = include_str!("../../../../docs/metrics.md");

fn objects() -> Vec<Yaml> {
    YamlLoader::load_from_str(&packaging("kubernetes.yaml")).expect("it is YAML")
}

fn text(value: &Yaml) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value:?}"))
}

fn list(value: &Yaml) -> &[Yaml] {
    value.as_vec().map(Vec::as_slice).unwrap_or_default()
}

fn of_kind<'a>(objects: &'a [Yaml], kind: &'a str) -> impl Iterator<Item = &'a Yaml> {
    objects.iter().filter(move |object| text(&object["kind"]) == kind)
}

fn is_named(object: &Yaml, name: &Yaml) -> bool {
    object["metadata"]["name"] == *name
}

/// Pods of either side.
fn pods(objects: &[Yaml]) -> Vec<&Yaml> {
    let pods: Vec<_> = of_kind(objects, "Deployment").map(|deployment| &deployment["spec"]["template"]).collect();
    assert_eq!(pods.len(), 2);
    pods
}

/// All of a pod, sidecars first.
fn containers(pod: &Yaml) -> Vec<&Yaml> {
    ["initContainers", "containers"].iter().flat_map(|kind| list(&pod["spec"][*kind])).collect()
}

/// The settings that a pod brings.
fn settings_of<'a>(objects: &'a [Yaml], pod: &Yaml) -> &'a str {
    let volume = list(&pod["spec"]["volumes"]).iter().find(|volume| text(&volume["name"]) == "httptp");
    let map = &volume.expect("its settings")["configMap"]["name"];
    let map = of_kind(objects, "ConfigMap").find(|object| is_named(object, map)).expect("its settings");
    text(&map["data"]["httptp.toml"])
}

#[test]
fn what_pods_need_is_there_or_told() {
    let (manifest, objects) = (packaging("kubernetes.yaml"), objects());
    for pod in pods(&objects) {
        let volumes = list(&pod["spec"]["volumes"]);
        for volume in volumes {
            let (map, secret) = (&volume["configMap"]["name"], &volume["secret"]["secretName"]);
            if secret.is_badvalue() {
                assert!(of_kind(&objects, "ConfigMap").any(|object| is_named(object, map)), "{volume:?}");
            } else {
                // A secret that everybody has is none.
                let told = format!("#   kubectl create secret generic {} ", text(secret));
                assert!(manifest.contains(&told), "{volume:?}");
            }
        }
        for container in containers(pod) {
            for mount in list(&container["volumeMounts"]) {
                assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount:?}");
            }
            let ports = list(&container["ports"]);
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"].map(|probe| &container[probe]) {
                let port = &probe["httpGet"]["port"];
                assert!(port.is_badvalue() || ports.iter().any(|known| known["name"] == *port), "{probe:?}");
            }
        }
    }
}

#[test]
fn names_lead_to_pods_and_either_side_can_be_applied_alone() {
    let objects = objects();
    for object in &objects {
        assert!(matches!(text(&object["metadata"]["labels"]["side"]), "near" | "far"), "{object:?}");
    }
    for deployment in of_kind(&objects, "Deployment") {
        let spec = &deployment["spec"];
        assert_eq!(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]);
    }
    let service = of_kind(&objects, "Service").next().expect("the far one");
    // Headless: its name is all pods' addresses.
    assert_eq!(text(&service["spec"]["clusterIP"]), "None");
    let far: Vec<_> =
        pods(&objects).into_iter().filter(|pod| pod["metadata"]["labels"] == service["spec"]["selector"]).collect();
    let [far] = far[..] else { panic!("one sort of pods") };
    let port = list(&service["spec"]["ports"])[0]["port"].as_i64().expect("a port");
    let ports: Vec<_> = list(&far["spec"]["containers"]).iter().flat_map(|one| list(&one["ports"])).collect();
    assert!(ports.iter().any(|open| open["containerPort"].as_i64() == Some(port)));
    let url = format!("urls = \"teleport://{}:{port}\"", text(&service["metadata"]["name"]));
    let settings = |side: &str| {
        let mut maps = of_kind(&objects, "ConfigMap");
        let map = maps.find(|map| text(&map["metadata"]["labels"]["side"]) == side).expect("its settings");
        text(&map["data"]["httptp.toml"]).to_owned()
    };
    assert!(settings("near").contains(&url), "{url}");
    assert!(settings("far").contains(&format!("url = \"teleport://:{port}\"")));
}

/// The settings that they bring are such as the program takes, and the files in them are mounted.
#[tokio::test]
async fn either_side_starts_with_settings_that_are_fine() {
    let objects = objects();
    for pod in pods(&objects) {
        let container = containers(pod).into_iter().find(|one| text(&one["name"]) == "httptp").expect("ours");
        let folder = tempfile::tempdir().expect("a folder");
        let token = folder.path().join("token");
        std::fs::write(&token, "a-token-that-nobody-guesses").expect("room");
        let settings = settings_of(&objects, pod);
        let mounts: Vec<_> = list(&container["volumeMounts"]).iter().map(|mount| text(&mount["mountPath"])).collect();
        assert!(settings.contains("\"/etc/httptp-admin/token\"") && mounts.contains(&"/etc/httptp-admin"));
        assert_eq!(text(&list(&container["args"])[1]), format!("{}/httptp.toml", mounts[0]));
        let file = folder.path().join("httptp.toml");
        let settings = settings.replace("/etc/httptp-admin/token", token.to_str().expect("a path"));
        // Names of the cluster are nobody's here.
        let settings = settings.replace("httptp-far:", "localhost:").replace("catalogue:", "localhost:");
        std::fs::write(&file, settings).expect("room");
        let (code, _, errors) = run(&["check", file.to_str().expect("a path")]).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""));
    }
}

/// A pod is not killed before the program has drained, and its sidecar outlives the application.
#[test]
fn pods_have_the_time_to_end() {
    let objects = objects();
    for pod in pods(&objects) {
        let sidecar = list(&pod["spec"]["initContainers"]).first();
        assert!(sidecar.is_none_or(|sidecar| text(&sidecar["restartPolicy"]) == "Always"));
        let alone = containers(pod).len() == 1;
        assert_eq!(sidecar.is_none(), alone, "the near one stands beside an application");
        let settings = settings_of(&objects, pod);
        let seconds = |key: &str, usual: i64| {
            let time =
                settings.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix("s\""));
            time.map_or(usual, |time| time.parse().expect("seconds"))
        };
        let (delay, drain) = (seconds("drain_delay", 0), seconds("drain_timeout", 30));
        assert_eq!(delay > 0, alone, "who is found by its name serves on until that is forgotten");
        let grace = pod["spec"]["terminationGracePeriodSeconds"].as_i64().expect("a time");
        assert!(grace >= delay + drain + 5, "{grace}");
    }
}

/// Compression cannot take all of a container's memory.
#[test]
fn half_of_the_memory_is_for_contexts() {
    let objects = objects();
    for pod in pods(&objects) {
        let container = containers(pod).into_iter().find(|one| text(&one["name"]) == "httptp").expect("ours");
        let limit = text(&container["resources"]["limits"]["memory"]).strip_suffix("Mi").expect("MiB");
        let limit: u32 = limit.parse().expect("a number");
        let want = format!("compression_memory = \"{}MiB\"", limit / 2);
        assert!(settings_of(&objects, pod).contains(&want), "{want}");
    }
}

/// Who follows an annotation brings no token; who follows the docs brings that of the Secret.
#[test]
fn prometheus_is_told_the_token() {
    for pod in pods(&objects()) {
        assert!(pod["metadata"]["annotations"].is_badvalue());
    }
    let example = METRICS.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let scrape = &YamlLoader::load_from_str(example).expect("it is YAML")[0]["scrape_configs"][0];
    assert_eq!(text(&scrape["authorization"]["credentials_file"]), "/etc/httptp-admin/token");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), example).expect("room");
    let promtool = testkit::programs::installed("promtool").expect("promtool is there: `cargo xtask test` gets it");
    let checked = Command::new(promtool).args(["check", "config", "--syntax-only"]).arg(file.path()).output();
    let checked = checked.expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
