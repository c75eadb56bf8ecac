//! An input that speaks teleport.

use anyhow::bail;

use super::Inputs;

/// See [`serve`](super::serve).
#[expect(clippy::unused_async, reason = "serving comes with the teleport server")]
pub(super) async fn serve(inputs: Inputs<'_>) -> anyhow::Result<()> {
    bail!("--in {}: teleport inputs are not built yet", inputs.settings.input.endpoint)
}
