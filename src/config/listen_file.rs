//! Reads `[listen]`: where the proxy is reached and what it offers there.

use std::net::SocketAddr;

use super::network::Network;
use super::read::{At, Document, Reader, suggest};
use super::settings::{CompressionOffer, Listen};

pub(super) fn default_listen() -> Listen {
    Listen {
        mysql: SocketAddr::from(([127, 0, 0, 1], 6033)),
        admin: Some(SocketAddr::from(([127, 0, 0, 1], 6032))),
        http: Some(SocketAddr::from(([127, 0, 0, 1], 6080))),
        backlog: 1024,
        compression: CompressionOffer { zlib: true, zstd: true },
        proxy_protocol: Vec::new(),
    }
}

pub(super) fn read_listen(reader: Reader<'_>, document: &Document) -> Listen {
    let default = default_listen();
    let mysql = reader.text("mysql");
    let admin = reader.text("admin");
    let http = reader.text("http");
    let backlog = reader.integer("backlog", 1..=65_535).and_then(|backlog| u32::try_from(backlog.value).ok());
    let address = |text: &Option<At<String>>, may_be_off: bool| -> Option<Option<SocketAddr>> {
        let text = text.as_ref()?;
        if may_be_off && text.value == "off" {
            return Some(None);
        }
        let parsed = text.value.parse().ok();
        if parsed.is_none() {
            let off = if may_be_off { ", or \"off\"" } else { "" };
            let message = format!("\"{}\" is not an address to listen on", text.value);
            reader.fault(&text.span, message, format!("write \"IP:port\", such as \"0.0.0.0:6033\"{off}"));
        }
        parsed.map(Some)
    };
    let listen = Listen {
        mysql: address(&mysql, false).flatten().unwrap_or(default.mysql),
        admin: address(&admin, true).unwrap_or(default.admin),
        http: address(&http, true).unwrap_or(default.http),
        backlog: backlog.unwrap_or(default.backlog),
        compression: read_compression(&reader).unwrap_or(default.compression),
        proxy_protocol: read_networks(&reader, "proxy_protocol"),
    };
    let place = |text: &Option<At<String>>| {
        text.as_ref().map_or_else(|| reader.span.clone(), |text| text.span.clone())
    };
    let listeners = [
        ("mysql", Some(listen.mysql), place(&mysql)),
        ("admin", listen.admin, place(&admin)),
        ("http", listen.http, place(&http)),
    ];
    for (index, (name, address, span)) in listeners.iter().enumerate() {
        for (other_name, other, _) in &listeners[..index] {
            if let (Some(address), Some(other)) = (address, other)
                && clash(*address, *other)
            {
                let message = format!("{name} and {other_name} both listen on port {}", address.port());
                document.fault(span, message, "give each its own port");
            }
        }
    }
    reader.finish();
    listen
}

fn clash(left: SocketAddr, right: SocketAddr) -> bool {
    let any = left.ip().is_unspecified() || right.ip().is_unspecified();
    left.port() != 0 && left.port() == right.port() && (any || left.ip() == right.ip())
}

fn read_networks(reader: &Reader<'_>, key: &'static str) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in reader.texts(key).unwrap_or_default() {
        match text.value.parse() {
            Ok(network) => networks.push(network),
            Err(()) => {
                let message = format!("\"{}\" is not a network", text.value);
                reader.fault(&text.span, message, "write an address and its prefix, such as \"10.0.0.0/8\"");
            }
        }
    }
    networks
}

fn read_compression(reader: &Reader<'_>) -> Option<CompressionOffer> {
    let mut offer = CompressionOffer::default();
    for word in reader.texts("compression")? {
        match word.value.as_str() {
            "zlib" => offer.zlib = true,
            "zstd" => offer.zstd = true,
            other => {
                let help = suggest(other, "algorithm", ["zlib", "zstd"]);
                reader.fault(&word.span, format!("unknown compression \"{other}\""), help);
            }
        }
    }
    Some(offer)
}
