//! `broker init`: a pools file to start from, made from the routers of the gateway.
//!
//! A router whose path is a prefix of others' is taken as their ingress; a router below two of them belongs to the nearer one.

use std::fmt::Write;

use clap::Args;

use super::check::GlFile;
use gecholog_protocol::gl_config::GlConfig;
use types::router::{ECHO_PATH, RouterPath};

/// Arguments of `init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    #[command(flatten)]
    file: GlFile,
}

/// The text of a pools file.
///
/// # Errors
/// The configuration cannot be read, or no router is below another.
pub fn init(args: &InitArgs) -> anyhow::Result<String> {
    start(&args.file.read()?)
}

fn start(config: &GlConfig) -> anyhow::Result<String> {
    if !config.readable {
        let faults: Vec<_> = config.faults.iter().map(|fault| format!("{}: {}", fault.place, fault.problem)).collect();
        anyhow::bail!("{}", faults.join("\n"));
    }
    let mut out = format!(
        "// A start, written by broker init from the routers of {}. Who is called, and how often, is yours to say.\n",
        one_line(&config.name)
    );
    let mut paths: Vec<RouterPath> = Vec::new();
    for router in
        config.routers.iter().filter(|router| !router.path.value().is_some_and(|path| path.starts_with(ECHO_PATH)))
    {
        let path = if router.path.has_variable() { None } else { RouterPath::parse(&router.path.to_string()).ok() };
        match path {
            Some(path) if router.is_kept() != Some(false) => paths.push(path),
            Some(path) => {
                let _ = writeln!(out, "// Left out: {path}, which the gateway drops; broker check reports why.");
            }
            None => {
                let _ =
                    writeln!(out, "// Left out: {}, whose path has a variable or is invalid.", one_line(&router.place));
            }
        }
    }
    let pools = pools(&paths);
    anyhow::ensure!(
        !pools.is_empty(),
        "no router of {} is below another, such as /azure/gpt4/ below /azure/: there is nothing to balance yet",
        config.name
    );
    let pools: Vec<String> = pools.into_iter().map(|(ingress, routers)| pool(ingress, &routers)).collect();
    let _ =
        write!(out, "{{\n  \"$schema\": \"./broker.schema.json\",\n  \"pools\": [\n{}\n  ]\n}}\n", pools.join(",\n"));
    Ok(out)
}

/// Each ingress with the routers below it.
fn pools(paths: &[RouterPath]) -> Vec<(&RouterPath, Vec<&RouterPath>)> {
    let below = |one: &RouterPath, other: &RouterPath| one != other && one.as_str().starts_with(other.as_str());
    let is_ingress = |path: &RouterPath| paths.iter().any(|other| below(other, path));
    let nearest = |path: &RouterPath| {
        paths.iter().filter(|ingress| below(path, ingress)).max_by_key(|ingress| ingress.as_str().len())
    };
    let members = |ingress: &RouterPath| {
        paths.iter().filter(|path| !is_ingress(path) && nearest(path) == Some(ingress)).collect::<Vec<_>>()
    };
    let pools = paths.iter().filter(|path| is_ingress(path)).map(|ingress| (ingress, members(ingress)));
    pools.filter(|(_, routers)| !routers.is_empty()).collect()
}

/// A path needs no escape in JSON.
fn pool(ingress: &RouterPath, routers: &[&RouterPath]) -> String {
    let targets: Vec<_> =
        routers.iter().map(|path| format!("        {{ \"router\": \"{path}\", \"weight\": 1 }}")).collect();
    format!(
        "    {{\n      \"ingress\": \"{ingress}\",\n      \"strategy\": {{ \"mode\": \"loadbalance\" }},\n      \"targets\": [\n{}\n      ]\n    }}",
        targets.join(",\n")
    )
}

/// The content of a comment must not end it.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{path, pools_file};
    use crate::lint::{LintInput, check, report};
    use balancer::broker::RouterSettings;
    use gecholog_protocol::gl_config;
    use types::mode::OperatingMode;

    const SHIPPED: &str = include_str!("../../gl_config.json");

    fn start_from(text: &str) -> anyhow::Result<String> {
        start(&gl_config::read("gl_config.json", text, |_| None))
    }

    #[test]
    fn a_start_loads_and_checks_clean() {
        let text = start_from(SHIPPED).unwrap();
        let settings = pools_file(&text, &RouterSettings::default()).unwrap();
        let config = gl_config::read("gl_config.json", SHIPPED, |_| Some("http://h".to_owned()));
        let plan = LintInput {
            settings: &settings,
            subject: "coburn.gl.broker",
            logger_subject: "coburn.gl.logger",
            mode: OperatingMode::Balance,
            bus: true,
        };
        let findings = check(plan, &config, true);
        assert!(report::is_ok(&findings), "{}", report::text(&findings, &settings));
        let pool = &settings.pools[0];
        assert_eq!((settings.pools.len(), pool.ingress.as_str()), (1, "/azure/"));
        for router in ["/azure/gpt4/", "/azure/gpt35turbo/", "/azure/dud/"] {
            assert!(text.contains(router), "{router}");
        }
        assert!(!text.contains("/echo/"));
    }

    #[test]
    fn who_stands_below_two_belongs_to_the_nearer() {
        let paths: Vec<_> = ["/a/", "/a/b/", "/a/b/c/", "/a/d/", "/e/f/", "/x/", "/x/y/", "/x/y/z/"]
            .iter()
            .map(|text| path(text))
            .collect();
        let pools: Vec<_> = pools(&paths)
            .into_iter()
            .map(|(ingress, routers)| (ingress.as_str(), routers.iter().map(|path| path.as_str()).collect::<Vec<_>>()))
            .collect();
        assert_eq!(pools, [("/a/", vec!["/a/d/"]), ("/a/b/", vec!["/a/b/c/"]), ("/x/y/", vec!["/x/y/z/"])]);
    }

    #[test]
    fn without_routers_below_others_there_is_no_start() {
        let lone = SHIPPED.replace("/azure/\"", "/openai/\"");
        assert!(start_from(&lone).unwrap_err().to_string().contains("nothing to balance"));
        assert!(start_from("{").is_err());
    }

    #[test]
    fn a_path_with_a_variable_is_left_out_and_not_shown() {
        let text = SHIPPED.replace("/azure/dud/", "/azure/${SECRET}/");
        let config = gl_config::read("gl_config.json", &text, |_| Some("http://s3cr3t".to_owned()));
        let start = start(&config).unwrap();
        assert!(!start.contains("s3cr3t") && start.contains("// Left out: gl_config.json:"), "{start}");
    }
}
