//! COM_CHANGE_USER: the session is reset, then another user logs in over the same connection. A refusal ends the session, as on
//! MySQL: nobody goes on half as one user and half as another.

use std::sync::Arc;

use tokio::time::timeout;

use super::handshake::{Changing, LoginError, change_user};
use super::metrics::LoginResult;
use super::run::{Admitted, End, Session, admit, login_result};
use super::variables::Variables;
use crate::config::User;
use crate::error::{Classify, ClientError};
use crate::executor::{Call, Stream};
use crate::wire::ChangeUser;

impl<S: Stream> Session<S> {
    pub(super) async fn change_user(&mut self, body: &[u8]) -> Result<(), End> {
        let request = match ChangeUser::decode(body, self.client.capabilities()) {
            Ok(request) => request,
            Err(error) => return Err(End::Dismissed(ClientError::new("SW1103", error.to_string()))),
        };
        // Whether the login succeeds or not, as servers do.
        self.reset();
        let limit = self.settings.limits.handshake_timeout;
        let changing = Changing {
            peer: self.registration.peer().ip(),
            capabilities: self.client.capabilities(),
            channel: &self.channel,
        };
        let (shared, registration) = (&self.shared, &self.registration);
        let admit = |user: &Arc<User>, database: Option<&str>| admit(shared, registration, user, database);
        let change = change_user(&mut self.client, &shared.gate, changing, &request, admit);
        let changed = tokio::select! {
            changed = timeout(limit, change) => changed.unwrap_or(Err(LoginError::Timeout { limit })),
            _ = registration.alarm().wait(&[Call::EndSession]) => {
                return Err(End::Dismissed(ClientError::new("SW1506", "the session was killed")));
            }
        };
        let (user, admitted) = match changed {
            Ok(changed) => changed,
            Err(error) => {
                self.shared.metrics.login(login_result(&error));
                tracing::debug!(session = self.registration.id(), %error, "the user was not changed");
                return Err(End::Dismissed(error.client()));
            }
        };
        self.shared.metrics.login(LoginResult::Ok);
        let Admitted { database, chosen } = admitted;
        let collation = request.collation.unwrap_or(self.variables.login_collation());
        let reading = self.shared.fleet.borrow().reading();
        self.user = user;
        self.chosen = chosen;
        self.variables = Variables::from_login(collation, database.as_deref(), reading);
        self.registration.update(|activity| activity.database = database);
        self.reply_ok().await
    }
}
