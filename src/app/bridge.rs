//! Carries orders of sessions to the control plane, which the data plane must not name.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::control::Control;
use crate::session::{SchemaOrder, WeightOrder};
use crate::task::Scope;

/// Weights are asked of servers, slowly; a few at a time.
pub(super) async fn weights(mut orders: mpsc::Receiver<WeightOrder>, control: Arc<Control>, scope: Scope) {
    while let Some(order) = next(&mut orders, &scope).await {
        let control = Arc::clone(&control);
        drop(scope.spawn("weights", async move {
            let mut reply = order.reply;
            tokio::select! {
                learned = control.weights().learn(&order.collation, &order.charset, &order.texts) => {
                    drop(reply.send(learned.map_err(|error| error.to_string())));
                }
                // A session that has gone does not want its answer.
                () = reply.closed() => {}
            }
        }));
    }
}

pub(super) async fn schema(mut orders: mpsc::Receiver<SchemaOrder>, control: Arc<Control>, scope: Scope) {
    while let Some(order) = next(&mut orders, &scope).await {
        let control = Arc::clone(&control);
        drop(scope.spawn("schema order", async move {
            control.refresh_schema().await;
            // A session that has gone does not wait for the schema.
            let _gone = order.reply.send(());
        }));
    }
}

async fn next<T>(orders: &mut mpsc::Receiver<T>, scope: &Scope) -> Option<T> {
    tokio::select! {
        order = orders.recv() => order,
        () = scope.token().cancelled() => None,
    }
}
