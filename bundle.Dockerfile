# An image with its bundle in it; the context is the bundle's folder:
#   docker build --file bundle.Dockerfile --build-arg IMAGE=porcelain/classifier:0.1.0 \
#       --build-arg KIND=classifier --tag porcelain/classifier:0.1.0-qing runs/classifier
ARG IMAGE
FROM ${IMAGE}
ARG KIND
COPY . /models/${KIND}
