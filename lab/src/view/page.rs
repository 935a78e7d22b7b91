//! The page: one file of HTML that loads nothing.

use super::run::Run;

const PAGE: &str = include_str!("index.html");
const STYLE: &str = include_str!("view.css");
/// In the order of their dependencies.
const SCRIPTS: [&str; 6] = [
    include_str!("model.js"),
    include_str!("draw.js"),
    include_str!("beliefs.js"),
    include_str!("datagrams.js"),
    include_str!("words.js"),
    include_str!("main.js"),
];

/// How many bytes a value takes in the page.
pub(super) fn size(of: &impl serde::Serialize) -> usize {
    as_data(&serde_json::to_string(of).expect("numbers and texts are JSON")).len()
}

/// Writes a run as a page.
#[must_use]
pub fn page(run: &Run) -> String {
    let data = serde_json::to_string(run).expect("numbers and texts are JSON");
    let script = SCRIPTS.join("\n");
    // In one pass, so that inserted data is never searched for places to fill in.
    let mut page = String::with_capacity(data.len() + script.len() + PAGE.len() + STYLE.len());
    let mut rest = PAGE;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (hole, behind) = behind.split_once("}}").expect("holes are closed");
        page.push_str(before);
        match hole {
            "title" => page.push_str(&as_text(&run.title)),
            "style" => page.push_str(STYLE),
            "data" => page.push_str(&as_data(&data)),
            "script" => page.push_str(&script),
            other => unreachable!("there is no {other}"),
        }
        rest = behind;
    }
    page + rest
}

/// Within an element.
fn as_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// JSON within a `script` element, which nothing that it holds can end: outside of strings JSON has no `<`.
fn as_data(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::run::Node;

    const ODD: [&str; 5] = [
        "</script><script>alert(1)</script>",
        "\"quoted\" \\ 'name'",
        "<!--",
        "nœud-日本-🦀",
        "{{data}} & \u{2028}",
    ];

    fn odd() -> Run {
        let node = |name: &&str| Node { name: (*name).into(), ..Node::default() };
        Run { title: ODD[0].into(), nodes: ODD.iter().map(node).collect(), ..Run::default() }
    }

    /// The text that a browser takes for the data: up to the first end of the element.
    fn data_of(page: &str) -> serde_json::Value {
        let (_, data) = page.split_once("id=\"run\">").expect("there is data");
        serde_json::from_str(data.split_once("</script").expect("it ends").0).expect("it is JSON")
    }

    #[test]
    fn odd_names_come_through_and_end_nothing() {
        let page = page(&odd());
        let data = data_of(&page);
        let names: Vec<_> =
            data["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
        assert_eq!(names, ODD);
        assert_eq!(page.matches("</script").count(), 2, "the data and the program");
        assert_eq!(page.matches("<script").count(), 2);
        assert!(page.contains("<title>&lt;/script&gt;"));
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = page(&odd());
        for loads in [
            "http:",
            "https:",
            "src=",
            "href=\"//",
            "@import",
            "url(",
            "<link",
            "fetch(",
            "XMLHttpRequest",
            "import ",
        ] {
            let own = page.matches(loads).count();
            assert_eq!(own, 0, "{loads}");
        }
        assert!(page.contains("default-src 'none'"), "a browser would refuse to");
    }

    #[test]
    fn the_program_ends_no_element() {
        for script in SCRIPTS {
            assert!(!script.contains("</script") && !script.contains("<!--"));
        }
    }
}
