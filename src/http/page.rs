//! The status page: one self-contained HTML document, made anew for each request. Everything that comes from outside
//! (names, errors, statements) is escaped on the one way into the page, `escape`.

use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime};

use super::Sources;
use crate::backend::{Flavor, PoolStatus};
use crate::control::ServerStatus;
use crate::session::SessionStatus;
use crate::topology::{Role, Topology};

/// More sessions than this are only counted.
const SESSIONS_SHOWN_MAX: usize = 200;
const STYLE: &str = include_str!("page.css");

pub(crate) fn render(sources: &Sources) -> String {
    let topology = sources.topology.load();
    let servers = (sources.servers)();
    let pools = (sources.pools)();
    let sessions = sources.sessions.status();
    let mut page = String::with_capacity(16 * 1024);
    page.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Shardway</title>");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    page.push_str("<meta http-equiv=\"refresh\" content=\"5\"><style>");
    page.push_str(STYLE);
    page.push_str("</style></head><body>");
    head(&mut page, sources);
    page.push_str("<main>");
    tiles(&mut page, &topology, &servers, &pools, &sessions);
    map_line(&mut page, sources);
    servers_table(&mut page, &servers);
    shards_table(&mut page, &topology);
    pools_table(&mut page, &pools);
    sessions_table(&mut page, &sessions);
    page.push_str("</main></body></html>\n");
    page
}

fn head(page: &mut String, sources: &Sources) {
    let reasons = (sources.not_ready)();
    let (class, word) = if reasons.is_empty() { ("good", "ready") } else { ("bad", "not ready") };
    push(
        page,
        format_args!(
            "<header><h1>Shardway <small>{}</small></h1><span class=\"badge {class}\">{word}</span>\
             <span class=\"quiet\">up {}</span><nav><a href=\"/metrics\">metrics</a>\
             <a href=\"/readyz\">readyz</a></nav></header>",
            env!("CARGO_PKG_VERSION"),
            span_text(sources.started.elapsed()),
        ),
    );
    for reason in reasons {
        push(page, format_args!("<p class=\"reason\">{}</p>", escape(&reason)));
    }
}

fn tiles(
    page: &mut String,
    topology: &Topology,
    servers: &[ServerStatus],
    pools: &[PoolStatus],
    sessions: &[SessionStatus],
) {
    let up = servers.iter().filter(|server| server.reachable).count();
    let lent: usize = pools.iter().map(|pool| pool.lent).sum();
    let idle: usize = pools.iter().map(|pool| pool.idle).sum();
    let waiting: usize = pools.iter().map(|pool| pool.waiting).sum();
    let pinned = sessions.iter().filter(|session| !session.activity.pins.is_empty()).count();
    let alarm = |wrong: bool| if wrong { "tile alarm" } else { "tile" };
    page.push_str("<div class=\"tiles\">");
    let mut tile = |class: &str, name: &str, value: String| {
        push(page, format_args!("<div class=\"{class}\"><b>{value}</b><span>{name}</span></div>"));
    };
    tile("tile", "map version", topology.version.to_string());
    tile("tile", "shards", topology.shards.len().to_string());
    tile(alarm(up < servers.len()), "servers up", format!("{up}<i>/{}</i>", servers.len()));
    tile("tile", "sessions", sessions.len().to_string());
    tile("tile", "pinned sessions", pinned.to_string());
    tile("tile", "connections lent", format!("{lent}<i>/{}</i>", lent + idle));
    tile(alarm(waiting > 0), "statements waiting", waiting.to_string());
    page.push_str("</div>");
}

fn map_line(page: &mut String, sources: &Sources) {
    let map = (sources.map)();
    let age = SystemTime::now().duration_since(map.loaded_at).unwrap_or_default();
    push(
        page,
        format_args!(
            "<p class=\"quiet\">Map <code>{}</code>, content <code>{:016x}</code>, epoch {}, loaded {} ago.</p>",
            escape(&map.file.display().to_string()),
            map.content_hash,
            map.epoch,
            span_text(age),
        ),
    );
}

fn servers_table(page: &mut String, servers: &[ServerStatus]) {
    open_table(
        page,
        "Servers",
        &["Shard", "Server", "Role", "Standing", "State", "Version", "Lag", "Since", "Last error"],
    );
    for server in servers {
        let (class, word) = match (server.reachable, server.since) {
            (true, _) => ("good", "up"),
            (false, Some(_)) => ("bad", "down"),
            (false, None) => ("quiet", "unknown"),
        };
        row(
            page,
            &[
                escape(&server.shard.0),
                format!("<code>{}</code>", escape(&server.server.0)),
                role_word(server.role).to_owned(),
                escape(&server.standing),
                format!("<span class=\"dot {class}\"></span>{word}"),
                escape(server.version.as_deref().unwrap_or("–")),
                server.lag_seconds.map_or("–".to_owned(), |lag| format!("{lag:.1} s")),
                server.since.map_or("–".to_owned(), |since: Instant| span_text(since.elapsed())),
                error_cell(server.last_error.as_deref()),
            ],
        );
    }
    close_table(page, servers.is_empty(), "No server is known.");
}

fn shards_table(page: &mut String, topology: &Topology) {
    open_table(page, "Shards", &["Shard", "Primary", "Replicas", "Schemes"]);
    for shard in &topology.shards {
        let replicas: Vec<String> =
            shard.replicas.iter().map(|server| format!("<code>{}</code>", escape(&server.name.0))).collect();
        let schemes: Vec<String> = topology
            .schemes
            .iter()
            .filter(|scheme| scheme.shards.contains(shard.id))
            .map(|scheme| escape(&scheme.name))
            .collect();
        row(
            page,
            &[
                escape(&shard.name.0),
                format!("<code>{}</code>", escape(&shard.primary.name.0)),
                if replicas.is_empty() { "–".to_owned() } else { replicas.join("<br>") },
                if schemes.is_empty() { "–".to_owned() } else { schemes.join(", ") },
            ],
        );
    }
    close_table(page, topology.shards.is_empty(), "The map has no shards.");
}

fn pools_table(page: &mut String, pools: &[PoolStatus]) {
    open_table(
        page,
        "Pools",
        &[
            "Server",
            "User",
            "Flavor",
            "In use",
            "Idle",
            "Connecting",
            "Waiting",
            "Connects",
            "Failures",
            "Last error",
        ],
    );
    for pool in pools {
        row(
            page,
            &[
                format!("<code>{}</code>", escape(&pool.server.0)),
                escape(&pool.user),
                flavor_words(pool.flavor),
                format!(
                    "<meter max=\"{}\" value=\"{}\"></meter> {} of {}",
                    pool.max.max(1),
                    pool.lent,
                    pool.lent,
                    pool.max
                ),
                pool.idle.to_string(),
                pool.connecting.to_string(),
                pool.waiting.to_string(),
                pool.connects.to_string(),
                pool.failures.to_string(),
                error_cell(pool.last_error.as_deref()),
            ],
        );
    }
    close_table(page, pools.is_empty(), "No statement has needed a server yet.");
}

fn sessions_table(page: &mut String, sessions: &[SessionStatus]) {
    open_table(
        page,
        "Sessions",
        &["Id", "User", "Client", "Database", "Age", "Transaction", "Pinned", "Statement"],
    );
    for session in sessions.iter().take(SESSIONS_SHOWN_MAX) {
        let activity = &session.activity;
        let statement = activity.statement.as_ref().map_or("–".to_owned(), |(text, began)| {
            format!(
                "<code>{}</code> <span class=\"quiet\">{}</span>",
                escape(text),
                span_text(began.elapsed())
            )
        });
        let optional = |text: Option<&str>| escape(text.unwrap_or("–"));
        row(
            page,
            &[
                session.id.to_string(),
                escape(&activity.user),
                session.peer.to_string(),
                optional(activity.database.as_deref()),
                span_text(session.age),
                optional(activity.transaction.as_deref()),
                activity.pins.first().map_or("–".to_owned(), |pin| {
                    format!("{} ({})", escape(&pin.shard.0), escape(pin.reason))
                }),
                statement,
            ],
        );
    }
    close_table(page, sessions.is_empty(), "No client is connected.");
    if let Some(more) = sessions.len().checked_sub(SESSIONS_SHOWN_MAX).filter(|more| *more > 0) {
        push(
            page,
            format_args!("<p class=\"quiet\">and {more} more: SHARDWAY SHOW SESSIONS lists them.</p>"),
        );
    }
}

fn open_table(page: &mut String, title: &str, columns: &[&str]) {
    push(page, format_args!("<section><h2>{title}</h2><div class=\"wide\"><table><thead><tr>"));
    for column in columns {
        push(page, format_args!("<th>{column}</th>"));
    }
    page.push_str("</tr></thead><tbody>");
}

/// `cells` are HTML.
fn row(page: &mut String, cells: &[String]) {
    page.push_str("<tr>");
    for cell in cells {
        push(page, format_args!("<td>{cell}</td>"));
    }
    page.push_str("</tr>");
}

fn close_table(page: &mut String, empty: bool, why: &str) {
    page.push_str("</tbody></table></div>");
    if empty {
        push(page, format_args!("<p class=\"quiet\">{why}</p>"));
    }
    page.push_str("</section>");
}

fn error_cell(error: Option<&str>) -> String {
    error.map_or("–".to_owned(), |error| format!("<span class=\"error\">{}</span>", escape(error)))
}

/// The capability flags that tell pools of one server and user apart.
fn flavor_words(flavor: Flavor) -> String {
    let words = [
        (flavor.found_rows, "found rows"),
        (flavor.deprecate_eof, "no EOF"),
        (!flavor.multi_results, "single results"),
    ];
    let words: Vec<&str> = words.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
    if words.is_empty() { "–".to_owned() } else { words.join(", ") }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Replica => "replica",
    }
}

/// The two largest units: `3 d 4 h`, `5 min 6 s`, `7.8 s`.
fn span_text(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        86_400.. => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            plain => escaped.push(plain),
        }
    }
    escaped
}

/// Writing to a `String` cannot fail.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a String takes everything");
}
