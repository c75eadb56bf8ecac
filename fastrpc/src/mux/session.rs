//! A framed connection over a real stream: its link, the state that its programs share with it, and its one task.

mod body;
mod call;
mod caller;
mod deadlines;
mod driver;
mod held;
mod link;
mod memory;
mod open;
mod options;
mod passing;
mod refused;
mod serving;
mod shared;
mod tag;

pub use body::{BodyReader, BodyWriter};
pub use call::{Reply, ReplyFuture};
pub use caller::{Caller, Drain, SendBody};
pub use driver::Driver;
pub use memory::ContextMemory;
pub use open::{Accepted, Connected, accept, connect};
pub use options::{Counted, Options};
pub use serving::{Incoming, InterimSender, NoCalls, Responder, Serve};
pub(crate) use shared::drop_quietly;
