//! The everyday names of colours.

use anyhow::{Context, Result, bail};

/// The colours in which the app shows the states of the backend, and all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    /// An error.
    Red,
    /// A wait.
    Amber,
    /// A success.
    Green,
    /// Too little chroma for a colour name.
    Grey,
    /// Another colour.
    Other,
}

impl Hue {
    /// Names a computed CSS colour, which a browser serialises as `rgb(r, g, b)` or `rgba(r, g, b, a)`:
    /// <https://www.w3.org/TR/css-color-4/#serializing-sRGB-values>.
    ///
    /// # Errors
    /// The colour has another form.
    pub fn of(css: &str) -> Result<Self> {
        let channels = css
            .strip_prefix("rgba(")
            .or_else(|| css.strip_prefix("rgb("))
            .and_then(|rest| rest.strip_suffix(')'));
        let channels = channels.with_context(|| format!("`{css}` is not a computed sRGB colour"))?;
        let channels: Vec<f64> =
            channels.split(',').map(|channel| channel.trim().parse()).collect::<Result<_, _>>()?;
        let [red, green, blue, ..] = channels[..] else { bail!("`{css}` lacks a channel") };
        Ok(Self::of_rgb(red, green, blue))
    }

    fn of_rgb(red: f64, green: f64, blue: f64) -> Self {
        let max = red.max(green).max(blue);
        let chroma = max - red.min(green).min(blue);
        if chroma < 0.2 * max || max < 32.0 {
            return Self::Grey;
        }
        // The angle on the colour wheel: https://en.wikipedia.org/wiki/HSL_and_HSV#Hue_and_chroma.
        let sixth = if max == red {
            ((green - blue) / chroma).rem_euclid(6.0)
        } else if max == green {
            (blue - red) / chroma + 2.0
        } else {
            (red - green) / chroma + 4.0
        };
        match sixth * 60.0 {
            0.0..20.0 | 340.0.. => Self::Red,
            20.0..65.0 => Self::Amber,
            90.0..170.0 => Self::Green,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_have_their_everyday_names() {
        for (css, hue) in [
            ("rgb(23, 114, 69)", Hue::Green),
            ("rgb(88, 201, 140)", Hue::Green),
            ("rgb(150, 96, 10)", Hue::Amber),
            ("rgb(240, 176, 74)", Hue::Amber),
            ("rgb(179, 38, 30)", Hue::Red),
            ("rgba(255, 138, 125, 0.9)", Hue::Red),
            ("rgb(47, 95, 208)", Hue::Other),
            ("rgb(92, 95, 102)", Hue::Grey),
            ("rgb(0, 0, 0)", Hue::Grey),
        ] {
            assert_eq!(Hue::of(css).unwrap(), hue, "{css}");
        }
    }

    #[test]
    fn other_forms_are_rejected() {
        for css in ["", "green", "oklch(0.7 0.1 150)", "rgb(1, 2)", "rgb(a, b, c)"] {
            assert!(Hue::of(css).is_err(), "{css}");
        }
    }
}
